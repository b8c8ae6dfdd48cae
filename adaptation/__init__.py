"""What decides which question a learner gets next: ratings, selection and reviews. Pure: no clock, no storage."""
