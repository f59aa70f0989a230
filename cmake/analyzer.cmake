# GCC's analyzer reads every function's paths (cmake --preset analyzer); what it says is an error
# as any other warning. Exceptions, each with its reason, by file and warning; gcc 12 and 14
# differ in which they see.
add_compile_options(-fanalyzer)

function(larder_not_a_finding file warning)
  set_property(SOURCE ${file} APPEND PROPERTY COMPILE_OPTIONS -Wno-analyzer-${warning})
endfunction()

# abort() follows where memory ran out: there the analyzer misses a free().
larder_not_a_finding(store/blob_list.c malloc-leak)
larder_not_a_finding(store/catalogue/servers.c malloc-leak)
larder_not_a_finding(store/erofs/reader.c malloc-leak)
larder_not_a_finding(store/layer/layer_path.c malloc-leak)
# pread() in another function fills what it takes for unset.
larder_not_a_finding(store/erofs/reader.c use-of-uninitialized-value)
# It does not know that iconv_close() frees.
larder_not_a_finding(store/convert/sandbox.c malloc-leak)
# An entry that a hash table's chain owns from here on.
larder_not_a_finding(server/place_counts.c malloc-leak)
larder_not_a_finding(server/read_cache.c malloc-leak)
# Descriptors that the program which is about to be run inherits.
larder_not_a_finding(store/private_postgres/process.c fd-leak)
# A cleanup attribute closes it.
larder_not_a_finding(store/registry/credential_helper.c fd-leak)
