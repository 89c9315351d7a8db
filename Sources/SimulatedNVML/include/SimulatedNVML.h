// Nothing is to be called from here: programs open the library as they open NVIDIA's.
