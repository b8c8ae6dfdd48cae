"""Tests of the benchmarks, the chaos drills, the fuzzer and the tools."""
