"""Bundles: one file with all that a machine without a network needs.

An uncompressed tar of plain files. The first member, `bundle.json`, names all others with sizes and digests, the second
is its own digest; every other byte (headers, padding, the end) follows from these, so that no byte can be another
without being noticed, and the file's length is known before its content is read. Members:

* `bundle.json`, `bundle.json.sha256` (as `sha256sum` writes it)
* `catalogs/<name>.yaml`: the models' entries of the catalogs that they were found in
* `models/<model>/<the model's own paths>`
* `wheels/<runtime>/<file>.whl`

What is in a bundle comes from anyone: names are checked before anything is written, digests before anything is used.
"""
