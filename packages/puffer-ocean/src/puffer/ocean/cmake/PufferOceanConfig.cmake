# find_package(PufferOcean 0.1 CONFIG REQUIRED) gives the target puffer::ocean and puffer_add_envs().
include(CMakeFindDependencyMacro)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

set(PYBIND11_FINDPYTHON ON)
find_dependency(Python 3.11 COMPONENTS Interpreter Development.Module)
find_dependency(pybind11 3 CONFIG)
find_dependency(Threads)

get_filename_component(PufferOcean_ROOT_DIR "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
if(NOT TARGET puffer::ocean)
  add_library(puffer::ocean INTERFACE IMPORTED)
  target_include_directories(puffer::ocean INTERFACE "${PufferOcean_ROOT_DIR}/include")
  target_compile_features(puffer::ocean INTERFACE cxx_std_20)
  target_link_libraries(puffer::ocean INTERFACE Threads::Threads)
endif()

# puffer_add_envs(<module> ENVS <name>... SOURCES <file>... DESTINATION <package/folder>)
#
# Makes the Python extension <module> of the environments that the sources define by
# PUFFER_ENV(<name>, Type), and installs it into <package/folder>.
function(puffer_add_envs module)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DESTINATION" "ENVS;SOURCES")
  if(NOT arg_ENVS OR NOT arg_SOURCES OR NOT arg_DESTINATION)
    message(FATAL_ERROR "puffer_add_envs(${module}): ENVS, SOURCES and DESTINATION are required")
  endif()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "puffer_add_envs(${module}): unknown words ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(list "#define PUFFER_ENVS(X)")
  foreach(env IN LISTS arg_ENVS)
    string(APPEND list " X(${env})")
  endforeach()
  file(CONFIGURE OUTPUT ${module}/puffer_envs.inc CONTENT "${list}\n")

  # NO_EXTRAS: link-time optimisation doubles the time of an edit and gains nothing here.
  pybind11_add_module(${module} MODULE NO_EXTRAS
    "${PufferOcean_ROOT_DIR}/sdk/module.cpp" ${arg_SOURCES})
  target_include_directories(${module} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/${module}")
  target_compile_definitions(${module} PRIVATE PUFFER_MODULE_NAME=${module})
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    # No fused multiply-add: results are the same on every machine. The first errors alone: of a
    # missing `Obs` follow dozens, and the first one names it.
    target_compile_options(${module} PRIVATE -ffp-contract=off
      $<IF:$<CXX_COMPILER_ID:GNU>,-fmax-errors=3,-ferror-limit=3>)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # Wide vectors are passed between functions of one file only, so that their ABI is no matter.
      target_compile_options(${module} PRIVATE -Wno-psabi)
    endif()
    # CMake's -O3 makes g++'s code of small environments slower by a fifth (squared, g++ 12).
    set_property(SOURCE ${arg_SOURCES} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:-O2>)
  endif()
  set_target_properties(${module} PROPERTIES CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_link_libraries(${module} PRIVATE puffer::ocean)
  install(TARGETS ${module} LIBRARY DESTINATION "${arg_DESTINATION}")
endfunction()
