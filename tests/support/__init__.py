"""What tests share: factories, servers, learners and the service as tests run it."""
