"""These tests need a browser; they run where the environment variable SCRAE_BROWSER names a Chromium."""
