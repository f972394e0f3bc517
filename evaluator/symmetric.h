// evaluator/symmetric.h - small symmetric positive semidefinite systems of the controller: at most
// 7 x 7, row-major, on the stack.
#ifndef EVALUATOR_SYMMETRIC_H
#define EVALUATOR_SYMMETRIC_H

#include <stdbool.h>
#include <stdint.h>

#define EVALUATOR_SYMMETRIC_MAX 7

// Cholesky factor L of a [n, n], lower triangle of `factor`; false when a pivot falls below
// 1e-10 of the largest diagonal element: the matrix is singular or close to it.
bool evaluator_symmetric_factor(uint32_t n, const double *a, double *factor);
// x [n] := solution of L L' x = b [n]; x may be b.
void evaluator_symmetric_solve(uint32_t n, const double *factor, const double *b, double *x);

// y [n] := pseudoinverse(a) b. Eigenvalues below 1e-15 of the largest count as zero, as in
// numpy.linalg.pinv. Plain solution by Cholesky wherever that is safe; otherwise the eigenvectors
// by Jacobi's rotations (Golub & Van Loan, Matrix Computations, 8.5).
void evaluator_symmetric_pinv_apply(uint32_t n, const double *a, const double *b, double *y);

#endif
