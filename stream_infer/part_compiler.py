"""How a part of kernels is compiled: no further than the kernels need it."""

from __future__ import annotations

from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

__all__ = ["PartCompiler"]

_NUMBA: Any = numba
_PASSES: Any = DefaultPassBuilder
_REGISTERED: Any = register_pass(mutates_CFG=True, analysis_only=False)  # type: ignore[no-untyped-call]


class PartCompiler(CompilerBase):
    """numba's compiler, as far as the code that kernels take in.

    In a kernel a part is optimised and translated as a piece of it. numba itself would do both for every part too, with
    all parts of that part in it, and once more for each one around it: more than a third of the time of compiling.
    """

    def define_pipelines(self) -> list[Any]:
        """All passes of numba, the last one by ours."""
        manager = _PASSES.define_nopython_pipeline(self.state)
        manager.passes = [
            (_Lowering if each is NativeLowering else each, name) for each, name in manager.passes
        ]
        manager.finalize()
        return [manager]


class _Library(JITCodeLibrary):
    """The code of a part, each function optimised by itself."""

    def finalize(self) -> None:
        """Take in the parts of this part, and leave it at that."""
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)  # noqa: SLF001
        self._finalized = True


@_REGISTERED
class _Lowering(NativeLowering):
    """To code of LLVM, without a way in from Python: the function object is only what numba knows the part by."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """Leave the result in the state."""
        library: Any = _Library(state.targetctx.codegen(), state.func_id.func_qualname)  # type: ignore[no-untyped-call]
        library.enable_object_caching()
        state.library = library
        state.flags.no_compile = state.flags.no_cpython_wrapper = True
        super().run_pass(state)  # type: ignore[no-untyped-call]
        lowered, made = state.cr, state.cr.fndesc
        nowhere = 0
        entry = _NUMBA._dynfunc.make_function(  # noqa: SLF001
            made.lookup_module(), made.qualname, "", nowhere, lowered.env, (library,)
        )
        state.targetctx.insert_user_function(entry, made, [library])
        state.cr = lowered._replace(cfunc=entry)
        return True
