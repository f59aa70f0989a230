# larder_embed(TARGET NAME GLOB PATTERN...): compiles the files into TARGET as
# `const struct embedded_file embedded_<NAME>[]`, sorted by name and ended by a
# NULL name (store/embedded.h).
function(larder_embed target name)
  cmake_parse_arguments(ARG "" "" "GLOB" ${ARGN})
  set(files)
  foreach(pattern ${ARG_GLOB})
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${pattern})
    list(APPEND files ${found})
  endforeach()
  list(SORT files)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_${name}.c)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DNAME=${name} "-DFILES=${files}"
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
