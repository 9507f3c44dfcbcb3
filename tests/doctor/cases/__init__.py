"""Small faulty programs after public reports, and healthy ones that look suspicious: what the doctor must say of each.

One file a family. A case is written as a function that builds its program; the lines at fault carry a marker comment
in that function, so that a line is found by its marker and never by its number.
"""
