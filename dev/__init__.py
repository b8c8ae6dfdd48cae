"""Nothing that ships: benchmarks, drills, fuzzing and the tools of the documents."""
