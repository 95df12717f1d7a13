"""Requests that are sent later: one-time schedules of EventBridge Scheduler."""
