"""What stock TFX is given by its user: an executor for IDX files, and the module file.

A folder of its own, since TFX packs every file that lies beside a module file.
"""
