"""Which question a learner gets next, and what answers say of questions. Pure: no clock, no storage."""
