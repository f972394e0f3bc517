# An installed tree is relocatable: programs find what lies beside them through $ORIGIN.
include(GNUInstallDirs)
get_property(programs GLOBAL PROPERTY PIPELINE_PROGRAMS)
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY pipelines/ DESTINATION ${CMAKE_INSTALL_DATADIR}/pipeline/pipelines)
