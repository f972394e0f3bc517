// tests/gpusim/fakes/abi_rows.hpp - one fact of a header.
#ifndef TESTS_GPUSIM_FAKES_ABI_ROWS_HPP
#define TESTS_GPUSIM_FAKES_ABI_ROWS_HPP

struct abi_row {
    const char *name;
    long long value;
    const char *type;
};
extern const abi_row abi_rows_ours[], abi_rows_real[];  // each ends with a null name

#endif
