# larder_embed(TARGET NAME GLOB PATTERN... [FILES PATH...]): compiles the files into TARGET as
# `const struct embedded_file embedded_<NAME>[]`, sorted by name and ended by a
# NULL name (store/embedded.h).
function(larder_embed target name)
  cmake_parse_arguments(ARG "" "" "GLOB;FILES" ${ARGN})
  set(files ${ARG_FILES})
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

# larder_yaml_to_json(INPUT OUTPUT): OUTPUT, in the build directory, is INPUT as JSON. With
# Debian's own python3: it has the yaml module.
find_program(LARDER_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
function(larder_yaml_to_json input output)
  add_custom_command(
    OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${output}
    COMMAND ${LARDER_PYTHON} ${CMAKE_SOURCE_DIR}/cmake/yaml_to_json.py
            ${CMAKE_SOURCE_DIR}/${input} ${CMAKE_CURRENT_BINARY_DIR}/${output}
    DEPENDS ${CMAKE_SOURCE_DIR}/${input} ${CMAKE_SOURCE_DIR}/cmake/yaml_to_json.py
    VERBATIM)
endfunction()
