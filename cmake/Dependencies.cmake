# Everything third-party, as imported targets. All of it is in Debian 12; see
# tools/bootstrap.sh for the packages.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

find_package(nlohmann_json REQUIRED)
# msgpack-c changed the names of its package and target between Debian 12 and 13.
find_package(msgpack-cxx CONFIG QUIET)
if(msgpack-cxx_FOUND)
  add_library(zkexec::msgpack ALIAS msgpack-cxx)
else()
  find_package(msgpackc-cxx REQUIRED CONFIG CONFIGS msgpack-config.cmake)
  add_library(zkexec::msgpack ALIAS msgpackc-cxx)
endif()
find_package(spdlog REQUIRED)
find_package(Boost 1.74 REQUIRED)  # Asio and Beast, which are headers only
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(jwt REQUIRED IMPORTED_TARGET libjwt)
if(ZKEXEC_FUZZ)
  return()  # what is fuzzed needs no more
endif()
find_package(Protobuf REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(cpprestsdk REQUIRED)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)

# The single-threaded client: its state changes on our thread only.
find_path(ZOOKEEPER_INCLUDE_DIR zookeeper/zookeeper.h REQUIRED)
find_library(ZOOKEEPER_ST_LIBRARY zookeeper_st REQUIRED)
add_library(zookeeper_st UNKNOWN IMPORTED)
set_target_properties(zookeeper_st PROPERTIES
  IMPORTED_LOCATION ${ZOOKEEPER_ST_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${ZOOKEEPER_INCLUDE_DIR})
