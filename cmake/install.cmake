# An installed tree is relocatable: programs find what lies beside them through $ORIGIN.
include(GNUInstallDirs)
get_property(programs GLOBAL PROPERTY PIPELINE_PROGRAMS)
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(module pipeline_cuda pipeline_nccl)
  if(TARGET ${module})
    install(TARGETS ${module} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
endforeach()
install(DIRECTORY pipelines/ DESTINATION ${CMAKE_INSTALL_DATADIR}/pipeline/pipelines)
install(DIRECTORY evaluator/suite DESTINATION ${CMAKE_INSTALL_DATADIR}/pipeline)
# libmujoco goes along: the cache that set-up filled is of the machine that built.
if(TARGET mujoco)
  install(FILES ${MUJOCO_ROOT}/libmujoco.so.3.3.2 DESTINATION ${CMAKE_INSTALL_LIBDIR})
  file(GLOB mujoco_licences ${MUJOCO_ROOT}/../mujoco-3.3.2.dist-info/LICENSE*
      ${MUJOCO_ROOT}/../mujoco-3.3.2.dist-info/licenses/LICENSE*)
  install(FILES ${mujoco_licences} DESTINATION ${CMAKE_INSTALL_DOCDIR}/mujoco)
endif()
