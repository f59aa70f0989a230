/* What is kept of the secrets that registries were shown. */
#include "store/registry/registry_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { OTHERS = SECRETS_MAX / SECRETS_OF_ONE_MAX - 1 };

static struct registry_client client = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct text {
    char text[64];
};

static struct text word(const char *registry, int number)
{
    struct text word;
    snprintf(word.text, sizeof(word.text), "secret-%d-of-%s", number, registry);
    return word;
}

static void show(const char *registry, int number)
{
    char header[80];
    snprintf(header, sizeof(header), "Bearer %s", word(registry, number).text);
    secrets_remember(&client, &(struct exchange){.registry = registry, .authorization = header});
}

static bool is_kept(const char *registry, int number)
{
    return secrets_repeated(&client, registry, word(registry, number).text);
}

static void forget_all(void)
{
    secrets_free(client.secrets);
    client.secrets = NULL;
}

Test(secrets, of_each_registry_the_newest_are_kept, .fini = forget_all)
{
    for (int number = 0; number <= SECRETS_OF_ONE_MAX; number++)
        show("one.example", number);
    cr_expect_not(is_kept("one.example", 0), "the oldest goes");
    for (int number = 1; number <= SECRETS_OF_ONE_MAX; number++)
        cr_expect(is_kept("one.example", number), "%d", number);
    cr_expect_not(secrets_repeated(&client, "two.example", word("one.example", 1).text),
                  "it is no word of another's");
}

Test(secrets, one_that_is_shown_again_is_the_newest, .fini = forget_all)
{
    for (int number = 0; number < SECRETS_OF_ONE_MAX; number++)
        show("one.example", number);
    show("one.example", 0);
    show("one.example", SECRETS_OF_ONE_MAX);
    cr_expect(is_kept("one.example", 0));
    cr_expect_not(is_kept("one.example", 1));
    cr_expect(is_kept("one.example", 2));
}

Test(secrets, no_registry_pushes_out_those_of_others, .fini = forget_all)
{
    struct text others[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        snprintf(others[i].text, sizeof(others[i].text), "other%d.example", i);
        for (int number = 0; number < SECRETS_OF_ONE_MAX; number++)
            show(others[i].text, number);
    }
    for (int number = 0; number < 2 * SECRETS_MAX; number++)
        show("greedy.example", number);
    for (int i = 0; i < OTHERS; i++)
        for (int number = 0; number < SECRETS_OF_ONE_MAX; number++)
            cr_expect(is_kept(others[i].text, number), "%d of %s", number, others[i].text);
}

Test(secrets, in_all_there_is_a_bound, .fini = forget_all)
{
    char registry[32];
    for (int number = 0; number <= SECRETS_MAX; number++) {
        snprintf(registry, sizeof(registry), "r%d.example", number);
        show(registry, 0);
    }
    size_t count = 0;
    for (int number = 0; number <= SECRETS_MAX; number++) {
        snprintf(registry, sizeof(registry), "r%d.example", number);
        count += is_kept(registry, 0);
    }
    cr_expect_eq(count, SECRETS_MAX);
    cr_expect_not(is_kept("r0.example", 0), "the oldest went");
}
