// loader/statistics.h - exact statistics of channels: mean, population standard deviation, extremes
// and quantiles of all values that were appended.
//
// The values are kept, as quantiles need them: memory is 8 bytes * channels * rows. Sums are
// compensated (Neumaier) and the deviation is taken in a second pass, so that results agree with
// long double arithmetic to 1e-12 however far the mean is from zero. Quantiles interpolate
// linearly between neighbours in order, bit for bit as numpy.quantile does by default.
#ifndef LOADER_STATISTICS_H
#define LOADER_STATISTICS_H

#include "proto/codec.h"

struct loader_statistics;  // the values of one set of channels (a task's state, or its action)

PROTO_MUST_CHECK bool loader_statistics_new(uint32_t channels, struct loader_statistics **out,
                                            struct proto_error *error);
void loader_statistics_free(struct loader_statistics **statistics);  // accepts NULL

// Appends rows [count, channels]; they are copied. PROTO_DAMAGED naming row and channel number when
// a value is not finite; nothing of this call was appended then.
PROTO_MUST_CHECK bool loader_statistics_append(struct loader_statistics *statistics,
                                               const double *rows, size_t count,
                                               struct proto_error *error);
uint64_t loader_statistics_rows(const struct loader_statistics *statistics);

// The statistics over all rows of `parts` together (one task: 1 part; pooled: the tasks' parts), in
// out [channels]. PROTO_DAMAGED when there are no rows.
PROTO_MUST_CHECK bool loader_statistics_fit(const struct loader_statistics *const *parts,
                                            size_t part_count, struct proto_statistics *out,
                                            struct proto_error *error);

#endif
