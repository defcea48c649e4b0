/* STREAM's triad over a share of the arrays: the threads are the probe's own, so that both are measured alike. */
#include <stdlib.h>

double *filled(long items, double value) {
  double *array = malloc(items * sizeof *array);
#pragma omp parallel for
  for (long i = 0; i < items; i++) array[i] = value;
  return array;
}

void triad(double *restrict a, const double *restrict b, const double *restrict c, long start, long stop) {
  for (long i = start; i < stop; i++) a[i] = b[i] + 3.0 * c[i];
}
