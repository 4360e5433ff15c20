"""Entity state: from a batch's rows to windows, from a model's errors to scores, and to the state topic and back.

layout      where everything of an entity lies, in memory and in a state record
profiles    what training learned per entity
index       (partition, entity) -> slot
undo        what the table was before the open delivery
table       EntityTable, which joins them: locate, push, judge · flush, load, drop, expire · commit, undo
*_kernel    the compiled loops
"""
