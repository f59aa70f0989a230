/* An image of an archive as a task like any pull's. Only for the files of this folder. */
#ifndef LARDER_STORE_LOAD_LOAD_TASK_H
#define LARDER_STORE_LOAD_LOAD_TASK_H

#include "store/load/archive_images.h"
#include "store/pull/pull_task.h"

/* Fills a task of zeros as if it had been resolved. It borrows the archive and the image. */
void load_task_fill(struct pull_task *task, const struct puller_config *config,
                    const struct archive *archive, const struct archive_image *image);

#endif
