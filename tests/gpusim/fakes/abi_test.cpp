// tests/gpusim/fakes/abi_test.cpp - our headers of CUDA's interfaces say what the toolkit's say:
// sources compiled against either run on either library. Built where there is a toolkit. Oracle:
// the toolkit's headers.
#include "gpusim/fakes/abi_rows.hpp"

#include <cstdio>
#include <cstring>

int main() {
    int differences = 0, count = 0;
    for (; abi_rows_ours[count].name; count++) {
        const abi_row &ours = abi_rows_ours[count], &real = abi_rows_real[count];
        if (ours.value == real.value && strcmp(ours.type, real.type) == 0) continue;
        printf("%s: ours %lld %s, the toolkit's %lld %s\n", ours.name, ours.value, ours.type,
               real.value, real.type);
        differences++;
    }
    printf("%d facts of CUDA's headers compared, %d differ\n", count, differences);
    return count == 0 || differences > 0 ? 1 : 0;
}
