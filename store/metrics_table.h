/* Every metric of a node, in the order in which /metrics prints them. Included several
 * times on purpose, by metrics.h and metrics.c alone (so without a guard).
 *
 *     METRIC(identifier, kind, name, unit, label, second label, buckets, help)
 *
 * identifier  METRIC_<identifier> in C.
 * kind        COUNTER only grows; GAUGE goes up and down; HISTOGRAM counts observations.
 * name        larder_<what>[_<unit>][_total]; counters end in _total. Names are stable.
 * unit        SECONDS: bumped in microseconds, printed in seconds. BYTES, or NONE.
 * labels      dimensions of metrics.h (LABEL_<label>), NONE for none. Always from a
 *             bounded set: never a reference, an id, a host or anything else from outside.
 * buckets     of a histogram (metrics.c), NONE for the others.
 * help        one sentence without a full stop.
 *
 * What a node counts itself starts at 0 with its process: sum it over the nodes. What
 * comes out of the catalogue is the same on every node: take the max. */

/* --- HTTP --- */
METRIC(HTTP_REQUESTS, COUNTER, "larder_http_requests_total", NONE, ROUTE, STATUS, NONE,
       "Requests answered, by route template and status")
METRIC(HTTP_REQUEST_SECONDS, HISTOGRAM, "larder_http_request_duration_seconds", SECONDS, ROUTE,
       NONE, FAST, "Time from a request's first line to its last byte")
METRIC(HTTP_RESPONSE_BYTES, COUNTER, "larder_http_response_bytes_total", BYTES, ROUTE, NONE, NONE,
       "Bytes of answers' bodies")
METRIC(HTTP_IN_FLIGHT, GAUGE, "larder_http_requests_in_flight", NONE, NONE, NONE, NONE,
       "Requests that have begun and are not over")
METRIC(HTTP_CONNECTIONS, GAUGE, "larder_http_connections", NONE, NONE, NONE, NONE,
       "Open connections of clients")
METRIC(HTTP_OVERLOADED, COUNTER, "larder_http_overloaded_total", NONE, NONE, NONE, NONE,
       "Requests told to come again because no worker was free")
METRIC(AUTH_REFUSED, COUNTER, "larder_auth_refused_total", NONE, AUTH, NONE, NONE,
       "Requests refused because of who they were from, by why")
METRIC(PROBLEMS, COUNTER, "larder_http_problems_total", NONE, PROBLEM, NONE, NONE,
       "Problems answered, by their code")

/* --- the catalogue's connections --- */
METRIC(CATALOGUE_ROUND_TRIP_SECONDS, HISTOGRAM, "larder_catalogue_round_trip_seconds", SECONDS,
       NONE, NONE, FAST, "Time for one statement to be sent and answered")
METRIC(CATALOGUE_ERRORS, COUNTER, "larder_catalogue_errors_total", NONE, NONE, NONE, NONE,
       "Statements that failed, also those that are tried again")
METRIC(CATALOGUE_ACQUIRE_SECONDS, HISTOGRAM, "larder_catalogue_acquire_seconds", SECONDS, NONE,
       NONE, FAST, "Time waited for a session of the pool")
METRIC(CATALOGUE_CONNECTS, COUNTER, "larder_catalogue_connects_total", NONE, NONE, NONE, NONE,
       "Connections to PostgreSQL that were made")
METRIC(CATALOGUE_SESSIONS_IN_USE, GAUGE, "larder_catalogue_sessions_in_use", NONE, NONE, NONE, NONE,
       "Sessions that are out of the pool for all but event loops and starts")
METRIC(CATALOGUE_SESSIONS_MAX, GAUGE, "larder_catalogue_sessions_max", NONE, NONE, NONE, NONE,
       "Sessions that this pool has")

/* --- reads of images, and the memory that answers them --- */
METRIC(READS, COUNTER, "larder_reads_total", NONE, READ, NONE, NONE,
       "Reads of images answered, by where the answer came from")
METRIC(CACHE_BYTES, GAUGE, "larder_read_cache_size_bytes", BYTES, NONE, NONE, NONE,
       "Memory of the finished answers")
METRIC(CACHE_ANSWERS, GAUGE, "larder_read_cache_answers", NONE, NONE, NONE, NONE,
       "Finished answers in memory")
METRIC(CACHE_EVICTIONS, COUNTER, "larder_read_cache_evictions_total", NONE, EVICTION, NONE, NONE,
       "Finished answers that left memory, by why")
METRIC(CACHE_FILLS_DROPPED, COUNTER, "larder_read_cache_fills_dropped_total", NONE, NONE, NONE,
       NONE, "Answers that were not stored because they changed while they were made")

/* --- pulls, as this node runs them --- */
METRIC(PULLS_ENDED, COUNTER, "larder_pulls_ended_total", NONE, PULL_END, NONE, NONE,
       "Pulls that this node ran to their end or gave back to the queue, by how")
METRIC(PULL_STAGE_SECONDS, HISTOGRAM, "larder_pull_stage_seconds", SECONDS, PULL_STAGE, NONE, SLOW,
       "Time of one stage of a pull that got through it")
METRIC(PULL_LAYERS, COUNTER, "larder_pull_layers_total", NONE, LAYER_RESULT, NONE, NONE,
       "Layers that pulls needed, by whether their file was there")
METRIC(PULL_RECEIVED_BYTES, COUNTER, "larder_pull_received_bytes_total", BYTES, NONE, NONE, NONE,
       "Bytes of blobs received from registries")
METRIC(PUBLISHED_BYTES, COUNTER, "larder_published_bytes_total", BYTES, FILE_KIND, NONE, NONE,
       "Bytes of files published in the blob directory, by kind")

/* --- registries --- */
METRIC(REGISTRY_REQUESTS, COUNTER, "larder_registry_requests_total", NONE, REGISTRY_OUTCOME, NONE,
       NONE, "Requests sent to registries and token servers, by outcome")
METRIC(REGISTRY_RETRIES, COUNTER, "larder_registry_retries_total", NONE, NONE, NONE, NONE,
       "Pauses made before a registry was asked again")
METRIC(REGISTRY_RATE_LIMIT, GAUGE, "larder_registry_rate_limit", NONE, NONE, NONE, NONE,
       "Requests that the registry which last said so allows (Docker Hub: in 6 hours); 0: none did")
METRIC(REGISTRY_RATE_REMAINING, GAUGE, "larder_registry_rate_limit_remaining", NONE, NONE, NONE,
       NONE, "Requests of that limit which were left then")

/* --- removing, as this node does it --- */
METRIC(REAPED_FILES, COUNTER, "larder_reaped_files_total", NONE, FILE_KIND, NONE, NONE,
       "Condemned files that this node unlinked, by kind")
METRIC(REAPED_BYTES, COUNTER, "larder_reaped_bytes_total", BYTES, NONE, NONE, NONE,
       "Bytes on disk that this node freed by unlinking condemned files")

/* --- the scrub, as this node does it --- */
METRIC(SCRUBBED_FILES, COUNTER, "larder_scrubbed_files_total", NONE, FILE_KIND, NONE, NONE,
       "Files that this node compared with their digests, by kind")
METRIC(SCRUBBED_BYTES, COUNTER, "larder_scrubbed_bytes_total", BYTES, NONE, NONE, NONE,
       "Bytes that this node read for that")
METRIC(DAMAGED_FILES, COUNTER, "larder_damaged_files_total", NONE, FILE_KIND, NONE, NONE,
       "Files that were missing or not as recorded when they were scrubbed, by kind")

/* --- sweeps, as this node makes them (one node of the fleet at a time) --- */
METRIC(SWEPT_FILES, COUNTER, "larder_swept_files_total", NONE, NONE, NONE, NONE,
       "Files of the blob directory that sweeps compared with the catalogue")
METRIC(SWEPT_ORPHANS, COUNTER, "larder_swept_orphans_total", NONE, NONE, NONE, NONE,
       "Files that the catalogue did not know and that were condemned")
METRIC(SWEEP_TIME, GAUGE, "larder_sweep_timestamp_seconds", SECONDS, NONE, NONE, NONE,
       "When this node last swept, in seconds since the epoch; 0: never")
METRIC(SWEEP_FOREIGN_FILES, GAUGE, "larder_sweep_foreign_files", NONE, NONE, NONE, NONE,
       "Files of other names that this node's last sweep found and left")
METRIC(SWEEP_UNKNOWN_IMAGES, GAUGE, "larder_sweep_unknown_images", NONE, NONE, NONE, NONE,
       "Images that this node's last sweep found and the catalogue lacks; no orphan goes then")

/* --- what the catalogue holds, as last counted (server/inventory_thread.h) --- */
METRIC(IMAGES, GAUGE, "larder_images", NONE, NONE, NONE, NONE, "References in the cache")
METRIC(FILES, GAUGE, "larder_files", NONE, FILE_KIND, NONE, NONE, "Files in the cache, by kind")
METRIC(FILE_BYTES, GAUGE, "larder_file_size_bytes", BYTES, SIZED_KIND, NONE, NONE,
       "Bytes of the files in the cache, by kind")
METRIC(SHARED_SAVED_BYTES, GAUGE, "larder_shared_saved_bytes", BYTES, NONE, NONE, NONE,
       "Bytes that would be needed beside the layer files, were no layer shared")
METRIC(CONDEMNED_FILES, GAUGE, "larder_condemned_files", NONE, NONE, NONE, NONE,
       "Files that wait to be unlinked")
METRIC(CONDEMNED_BYTES, GAUGE, "larder_condemned_bytes", BYTES, NONE, NONE, NONE,
       "Bytes of the files that wait to be unlinked, where known")
METRIC(CONDEMNED_OLDEST_SECONDS, GAUGE, "larder_condemned_oldest_age_seconds", SECONDS, NONE, NONE,
       NONE, "How long the oldest of the condemned files has been waiting")
METRIC(SANDBOXES, GAUGE, "larder_sandboxes", NONE, ROOTFS, NONE, NONE,
       "Sandboxes whose lease has not run out, by the type of their root")
METRIC(SANDBOX_LEASES, GAUGE, "larder_sandbox_leases", NONE, NONE, NONE, NONE,
       "Sandboxes with a lease that has not run out")
METRIC(SANDBOX_LEASES_EXPIRED, GAUGE, "larder_sandbox_leases_expired", NONE, NONE, NONE, NONE,
       "Sandboxes whose lease ran out and that nobody released")
METRIC(SNAPSHOTS, GAUGE, "larder_snapshots", NONE, NONE, NONE, NONE, "Snapshots registered")
METRIC(PINS, GAUGE, "larder_pins", NONE, NONE, NONE, NONE, "Pins set")
METRIC(PULLS, GAUGE, "larder_pulls", NONE, PULL_STATE, NONE, NONE,
       "Pulls that have not ended, on all nodes, by state")
METRIC(NODES, GAUGE, "larder_nodes", NONE, NONE, NONE, NONE, "Nodes whose heartbeat is fresh")
METRIC(INVENTORY_TIME, GAUGE, "larder_inventory_timestamp_seconds", SECONDS, NONE, NONE, NONE,
       "When the catalogue was last counted, in seconds since the epoch; 0: not yet")
METRIC(INVENTORY_SECONDS, GAUGE, "larder_inventory_duration_seconds", SECONDS, NONE, NONE, NONE,
       "How long the last count of the catalogue took")

/* --- the log (server/log_writer.h) --- */
METRIC(LOG_LINES_LEFT_OUT, COUNTER, "larder_log_lines_left_out_total", NONE, LOG, NONE, NONE,
       "Lines of the log that were left out because nobody read it fast enough, by kind")

/* --- the process; names that Prometheus' own clients use --- */
METRIC(BUILD_INFO, GAUGE, "larder_build_info", NONE, VERSION, NONE, NONE,
       "Always 1; the label says the version")
METRIC(PROCESS_CPU_SECONDS, COUNTER, "process_cpu_seconds_total", SECONDS, NONE, NONE, NONE,
       "User and system time of this process")
METRIC(PROCESS_RESIDENT_BYTES, GAUGE, "process_resident_memory_bytes", BYTES, NONE, NONE, NONE,
       "Resident memory")
METRIC(PROCESS_VIRTUAL_BYTES, GAUGE, "process_virtual_memory_bytes", BYTES, NONE, NONE, NONE,
       "Virtual memory")
METRIC(PROCESS_OPEN_FDS, GAUGE, "process_open_fds", NONE, NONE, NONE, NONE, "Open file descriptors")
METRIC(PROCESS_MAX_FDS, GAUGE, "process_max_fds", NONE, NONE, NONE, NONE,
       "The most file descriptors that may be open")
METRIC(PROCESS_THREADS, GAUGE, "process_threads", NONE, NONE, NONE, NONE, "Threads")
METRIC(PROCESS_START_SECONDS, GAUGE, "process_start_time_seconds", SECONDS, NONE, NONE, NONE,
       "When this process started, in seconds since the epoch")
