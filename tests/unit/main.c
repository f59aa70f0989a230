/* Criterion's own main(), but for the boxed processes: they are this program again. */
#include "store/composer.h"
#include "store/convert.h"
#include "store/convert/nursery.h"
#include "store/load/archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int told_process_main(void);

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "nursery") == 0)
        nursery_main(argv);
    if (argc > 1 && strcmp(argv[1], "convert") == 0)
        return convert_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "compose") == 0)
        return composer_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "unpack") == 0)
        return unpack_main(argc, argv);
    if (argc == 2 && strcmp(argv[1], "tell") == 0)
        return told_process_main(); /* test_nursery.c */

    struct criterion_test_set *tests = criterion_initialize();
    int result = 0;
    if (criterion_handle_args(argc, argv, true))
        result = !criterion_run_all_tests(tests);
    criterion_finalize(tests);
    /* Each test's process has looked for leaks at its end. What this one leaks is Criterion's. */
    fflush(NULL);
    _exit(result);
}
