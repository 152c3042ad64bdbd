// Names only: what they hold is read by workerd.

/** What the leaders' process reads itself: where the bucket is, and who we are there. */
export const BUCKET_VARIABLES = [
  "AWS_ENDPOINT_URL",
  "AWS_REGION",
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_CREDENTIALS_FILE",
];
