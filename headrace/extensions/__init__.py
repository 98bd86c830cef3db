"""Extensions: health, authentication and other helpers of the daemon."""
