"""What is known of every machine, and what was known before: facts, history, places, notes, search.

`inventory` is the face of it; `database` the file, `writer` its one thread. `facts`, `observations`,
`matching`, `staleness` and `queries` decide and open nothing; `book` and `people` write what they decided.
"""
