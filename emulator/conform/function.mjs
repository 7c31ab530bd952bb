// A function that the conformance run asks, for aws-lambda-ric.

if (process.env.CONFORM_INIT === "fail") {
  throw new Error("asked to fail");
}

const actions = ["context", "crash", "echo", "fail", "init", "large", "sleep"];

export const handler = async (event, context) => {
  switch (event.conform) {
    case "actions":
      return actions;
    case "context":
      return {
        requestId: context.awsRequestId,
        functionArn: context.invokedFunctionArn,
        remainingMs: context.getRemainingTimeInMillis(),
        clientContext: context.clientContext,
        tenantId: context.tenantId,
        trace: process.env._X_AMZN_TRACE_ID,
      };
    case "fail":
      throw new Error("asked to fail");
    case "large":
      return "x".repeat(event.bytes);
    case "sleep":
      await new Promise((resolve) => setTimeout(resolve, event.ms));
      return event;
    case "crash":
      return process.exit(1);
    default:
      return event;
  }
};
