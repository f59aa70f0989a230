/* Whether a sanitizer is built in: the converter's box then lets it do its work (its
 * address space, its thread, its reports on stderr), and nothing more. */
#ifndef LARDER_STORE_CONVERT_SANITIZED_H
#define LARDER_STORE_CONVERT_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
