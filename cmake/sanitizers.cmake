# LARDER_SANITIZE: a comma-separated list for -fsanitize=, set by the presets.
set(LARDER_SANITIZE "" CACHE STRING "Sanitizers to build with, as for -fsanitize=")
if(LARDER_SANITIZE)
  add_compile_options(-fsanitize=${LARDER_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LARDER_SANITIZE})
  if(LARDER_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
