"""Tests of the whole service, in browsers and as it is deployed."""
