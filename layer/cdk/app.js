// Three functions with Bantam - as the runtime, as the extension, and as both - and a dashboard.
//
//   cdk deploy                            x86_64
//   cdk deploy -c architecture=arm64
//   cdk synth -c zips=FOLDER              with zips that layer/package put elsewhere

const fs = require("node:fs");
const path = require("node:path");

const cdk = require("aws-cdk-lib");
const cloudwatch = require("aws-cdk-lib/aws-cloudwatch");
const iam = require("aws-cdk-lib/aws-iam");
const lambda = require("aws-cdk-lib/aws-lambda");
const logs = require("aws-cdk-lib/aws-logs");

// Of an architecture, the class of the CDK and the name in the zips.
const ARCHITECTURES = {
  x86_64: [lambda.Architecture.X86_64, "x86_64"],
  arm64: [lambda.Architecture.ARM_64, "aarch64"],
};

class BantamStack extends cdk.Stack {
  constructor(scope, id, { architecture, zips }) {
    super(scope, id);
    const [cpu, arch] = ARCHITECTURES[architecture];
    const zip = (name) => lambda.Code.fromAsset(path.join(zips, name));

    const layer = new lambda.LayerVersion(this, "Layer", {
      description: "Cold starts measured, and a custom runtime",
      code: zip(`bantam-${arch}.zip`),
      compatibleArchitectures: [cpu],
    });

    const logGroup = new logs.LogGroup(this, "Logs", {
      logGroupName: `/bantam/${this.stackName}`,
      retention: logs.RetentionDays.TWO_WEEKS,
      removalPolicy: cdk.RemovalPolicy.DESTROY,
    });

    // All that the three functions may do is to write to that log group. The extension needs no
    // more: its metrics are lines of the log.
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
    });
    logGroup.grantWrite(role);

    const common = {
      role,
      architecture: cpu,
      memorySize: 128,
      timeout: cdk.Duration.seconds(10),
      loggingFormat: lambda.LoggingFormat.JSON,
      logGroup,
    };

    // (a) Bantam as the runtime: the example apigw.rs, behind a URL that takes signed requests.
    const typed = new lambda.Function(this, "Typed", {
      ...common,
      runtime: lambda.Runtime.PROVIDED_AL2023,
      handler: "bootstrap",
      code: zip(`apigw-${arch}.zip`),
    });
    const url = typed.addFunctionUrl({ authType: lambda.FunctionUrlAuthType.AWS_IAM });

    // (b) Bantam as the extension of any function.
    const measured = new lambda.Function(this, "Measured", {
      ...common,
      runtime: lambda.Runtime.PYTHON_3_13,
      handler: "index.handler",
      code: lambda.Code.fromAsset(path.join(__dirname, "../measured")),
      layers: [layer],
    });

    // (c) Both: the example hello.sh, run by the stock binary, and the layer.
    const both = new lambda.Function(this, "Both", {
      ...common,
      runtime: lambda.Runtime.PROVIDED_AL2023,
      handler: "hello.sh",
      code: zip(`script-${arch}.zip`),
      layers: [layer],
    });

    const dashboard = fs.readFileSync(path.join(__dirname, "../dashboard.json"), "utf8");
    new cloudwatch.CfnDashboard(this, "Dashboard", {
      dashboardName: this.stackName,
      dashboardBody: cdk.Fn.sub(dashboard),
    });

    const outputs = {
      TypedName: typed.functionName,
      TypedUrl: url.url,
      MeasuredName: measured.functionName,
      BothName: both.functionName,
      LayerArn: layer.layerVersionArn,
    };
    for (const [name, value] of Object.entries(outputs)) {
      new cdk.CfnOutput(this, `${name}Output`, { value }).overrideLogicalId(name);
    }
  }
}

const app = new cdk.App();
const architecture = app.node.tryGetContext("architecture") ?? "x86_64";
if (!(architecture in ARCHITECTURES)) {
  throw new Error(`architecture: ${architecture}, not one of ${Object.keys(ARCHITECTURES)}`);
}
new BantamStack(app, "bantam", {
  architecture,
  zips: path.resolve(app.node.tryGetContext("zips") ?? path.join(__dirname, "../../target/layer")),
});
