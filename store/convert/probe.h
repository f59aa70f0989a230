/* Shows that the converter's box is closed. */
#ifndef LARDER_STORE_CONVERT_PROBE_H
#define LARDER_STORE_CONVERT_PROBE_H

/* Tries "open", "connect", "fork" or another of probe.c's list from inside the box. Dies
 * of SIGSYS if all is well; returns 1 if the attempt came back (as "nothing" does), 2 if
 * there was no box or no such name. */
[[nodiscard]] int convert_probe(const char *name);

#endif
