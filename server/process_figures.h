/* What the kernel knows of this process: CPU time, memory, descriptors, threads. */
#ifndef LARDER_SERVER_PROCESS_FIGURES_H
#define LARDER_SERVER_PROCESS_FIGURES_H

/* Sets the gauges process_* of store/metrics_table.h from /proc/self, which waits for no
 * disk. What cannot be read stays as it was. */
void process_figures_set(void);

#endif
