/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The tries alone, to be filled and weighed. */

#include "tries.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
