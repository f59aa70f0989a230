# Every warning is an error; a third-party header's own are not ours to mend. (Of
# gcc's: clang builds the fuzz targets only.)
add_compile_options(
  -Wall -Wextra $<$<C_COMPILER_ID:GNU>:-Werror> -Wconversion -Wsign-conversion -Wshadow -Wpointer-arith
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wcast-align -Wcast-qual
  -Wwrite-strings -Wundef -Wformat=2 -Wvla -Wnull-dereference -Wdouble-promotion
  -Wimplicit-fallthrough -Wswitch-enum
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>) # snprintf truncates on purpose: messages have a fixed size

# Hardening, in every build: a release differs from a test run in optimisation only.
add_compile_options(-fstack-protector-strong -fstack-clash-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options(-fcf-protection=full)
endif()
add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack)
include(CheckPIESupported)
check_pie_supported()
if(CMAKE_BUILD_TYPE MATCHES "Rel" AND NOT LARDER_SANITIZE)
  # Debian 12's gcc sets no level by itself; undefine first for those that do.
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
