"""Membership-inference audits of models trained on real and on distilled images."""
