#include "server/rootfs.h"

#include "store/registry/json_document.h"

#include <criterion/criterion.h>
#include <string.h>

Test(rootfs, each_source_is_kept_with_all_its_fields)
{
    static const struct {
        const char *given;
        const char *kept;
    } rows[] = {
        {"{\"type\":\"oci\",\"reference\":\"python\"}",
         "{\"type\":\"oci\",\"reference\":\"python\",\"upper_size_mib\":null}"},
        {"{\"reference\":\"a/b\",\"type\":\"oci\",\"upper_size_mib\":1}",
         "{\"type\":\"oci\",\"reference\":\"a/b\",\"upper_size_mib\":1}"},
        {"{\"type\":\"bind\",\"path\":\"/a\"}", "{\"type\":\"bind\",\"path\":\"/a\"}"},
        {"{\"type\":\"disk\",\"path\":\"/a.vmdk\"}",
         "{\"type\":\"disk\",\"path\":\"/a.vmdk\",\"format\":\"vmdk\",\"fstype\":null}"},
        {"{\"type\":\"disk\",\"path\":\"/a\",\"format\":\"raw\",\"fstype\":\"ext4\"}",
         "{\"type\":\"disk\",\"path\":\"/a\",\"format\":\"raw\",\"fstype\":\"ext4\"}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        cleanup_json json_t *document = json_loads(rows[i].given, 0, NULL);
        struct rootfs rootfs;
        struct error error = {0};
        cr_assert(rootfs_read(document, &arena, &rootfs, &error), "%s: %s", rows[i].given,
                  error.message);
        cr_expect_str_eq(rootfs.json, rows[i].kept);
        cr_expect_eq(rootfs.is_oci, strstr(rows[i].given, "oci") != NULL);
    }
}

Test(rootfs, what_cannot_be_meant_is_refused)
{
    static const struct {
        const char *given;
        const char *named;
    } rows[] = {
        {"{}", "rootfs.type"},
        {"{\"type\":\"OCI\"}", "rootfs.type"},
        {"{\"type\":1}", "rootfs.type"},
        {"{\"type\":\"oci\"}", "rootfs.reference"},
        {"{\"type\":\"oci\",\"reference\":\"a\",\"path\":\"/a\"}", "rootfs.path"},
        {"{\"type\":\"oci\",\"reference\":\"a\",\"upper_size_mib\":0}", "rootfs.upper_size_mib"},
        {"{\"type\":\"oci\",\"reference\":\"A\"}", "lower case"},
        {"{\"type\":\"bind\"}", "rootfs.path"},
        {"{\"type\":\"bind\",\"path\":\"a\"}", "absolute"},
        {"{\"type\":\"bind\",\"path\":\"\"}", "rootfs.path"},
        {"{\"type\":\"bind\",\"path\":\"/a\",\"format\":\"raw\"}", "rootfs.format"},
        {"{\"type\":\"disk\",\"path\":\"/a\"}", "rootfs.format"},
        {"{\"type\":\"disk\",\"path\":\"/a.raw/b\"}", "rootfs.format"},
        {"{\"type\":\"disk\",\"path\":\"/a.raw\",\"format\":\"iso\"}", "rootfs.format"},
        {"{\"type\":\"disk\",\"path\":\"a.raw\"}", "absolute"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        cleanup_json json_t *document = json_loads(rows[i].given, 0, NULL);
        struct rootfs rootfs;
        struct error error = {0};
        cr_expect(!rootfs_read(document, &arena, &rootfs, &error), "%s must be refused",
                  rows[i].given);
        cr_expect(strstr(error.message, rows[i].named), "%s: expected %s in: %s", rows[i].given,
                  rows[i].named, error.message);
    }
}
