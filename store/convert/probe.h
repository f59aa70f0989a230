/* Shows that the converter's box is closed. */
#ifndef LARDER_STORE_CONVERT_PROBE_H
#define LARDER_STORE_CONVERT_PROBE_H

/* "confined" tells on stdout what the process gave up for its box, before the last of its doors is
 * closed: lines of a name and a number; returns 0.
 * All else tries "open", "connect", "fork" or another of probe.c's list from inside the box. Dies
 * of SIGSYS if all is well; returns 1 if the attempt came back (as "nothing" does), 2 if
 * there was no box or no such name. */
[[nodiscard]] int convert_probe(const char *name);

#endif
