# zkexec::build_flags: warnings for our own code. Sanitizers go to everything
# that this build compiles.
add_library(zkexec_build_flags INTERFACE)
add_library(zkexec::build_flags ALIAS zkexec_build_flags)
target_compile_options(zkexec_build_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Werror)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees an overlap in "literal" + string at -O3 that is not there (GCC bug 105651).
  target_compile_options(zkexec_build_flags INTERFACE -Wno-restrict)
endif()

if(ZKEXEC_SANITIZE)
  add_compile_options(-fsanitize=${ZKEXEC_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  if(ZKEXEC_SANITIZE MATCHES "undefined")
    # cpprestsdk's templates, instantiated here and in its library, have two vtables each.
    add_compile_options(-fno-sanitize=vptr)
  endif()
  add_link_options(-fsanitize=${ZKEXEC_SANITIZE})
endif()

# With ZKEXEC_PCH the large headers that a target's files share are compiled once. Only in the
# sanitizer builds, where it saves a third: the other builds show a file that forgot an include.
option(ZKEXEC_PCH "Precompile large headers" OFF)
function(zkexec_precompile target)
  if(ZKEXEC_PCH)
    target_precompile_headers(${target} PRIVATE <algorithm> <functional> <map> <memory> <string>
                              <vector> ${ARGN})
  endif()
endfunction()
