// What a fleet needs - the layer for each architecture that layer/package made, a dashboard, alarms if
// they are asked for - and three functions with Bantam: as the runtime, as the extension, and as both.
//
//   cdk deploy                            functions for x86_64
//   cdk deploy -c architecture=arm64
//   cdk deploy -c alarmInitFailures=1     alarm at so many failed inits in 5 minutes
//   cdk deploy -c alarmColdStartShare=5   above this percentage of invocations, over 15 minutes
//   cdk deploy -c alarmTopic=ARN          where alarms are sent to
//   cdk deploy -c queries=true            layer/queries in Logs Insights
//   cdk synth -c zips=FOLDER              with zips that layer/package put elsewhere

const fs = require("node:fs");
const path = require("node:path");

const cdk = require("aws-cdk-lib");
const cloudwatch = require("aws-cdk-lib/aws-cloudwatch");
const actions = require("aws-cdk-lib/aws-cloudwatch-actions");
const iam = require("aws-cdk-lib/aws-iam");
const lambda = require("aws-cdk-lib/aws-lambda");
const logs = require("aws-cdk-lib/aws-logs");
const sns = require("aws-cdk-lib/aws-sns");

// Of an architecture, the class of the CDK and the name in the zips.
const ARCHITECTURES = {
  x86_64: [lambda.Architecture.X86_64, "x86_64"],
  arm64: [lambda.Architecture.ARM_64, "aarch64"],
};

class BantamStack extends cdk.Stack {
  constructor(scope, id, { architecture, zips, alarms, queries }) {
    super(scope, id);
    const [cpu, arch] = ARCHITECTURES[architecture];
    const zip = (name) => lambda.Code.fromAsset(path.join(zips, name));

    // The layers have the names that layer/rollout looks for.
    const layers = Object.fromEntries(
      Object.entries(ARCHITECTURES)
        .filter(([, [, arch]]) => fs.existsSync(path.join(zips, `bantam-${arch}.zip`)))
        .map(([name, [cpu, arch]]) => [
          name,
          new lambda.LayerVersion(this, `Layer-${name}`, {
            layerVersionName: `${this.stackName}-${name}`,
            description: "Cold starts measured, and a custom runtime",
            code: zip(`bantam-${arch}.zip`),
            compatibleArchitectures: [cpu],
            // A rollback needs the older versions.
            removalPolicy: cdk.RemovalPolicy.RETAIN,
          }),
        ]),
    );
    const layer = layers[architecture];
    if (layer === undefined) {
      throw new Error(`no bantam-${arch}.zip in ${zips}: layer/package makes it`);
    }

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
    this.addAlarms(alarms);
    if (queries) {
      this.addQueries();
    }

    const outputs = {
      TypedName: typed.functionName,
      TypedUrl: url.url,
      MeasuredName: measured.functionName,
      BothName: both.functionName,
      LayerArn: layer.layerVersionArn,
    };
    for (const [name, { layerVersionArn }] of Object.entries(layers)) {
      outputs[`LayerArn${name.replace("_", "")}`] = layerVersionArn;
    }
    for (const [name, value] of Object.entries(outputs)) {
      new cdk.CfnOutput(this, `${name}Output`, { value }).overrideLogicalId(name);
    }
  }

  addQueries() {
    const folder = path.join(__dirname, "../queries");
    for (const file of fs.readdirSync(folder)) {
      const name = path.basename(file, ".txt");
      new logs.CfnQueryDefinition(this, `Query-${name}`, {
        name: `${this.stackName}/${name}`,
        queryString: fs.readFileSync(path.join(folder, file), "utf8"),
      });
    }
  }

  addAlarms({ initFailures, coldStartShare, topic }) {
    const sum = (namespace, metricName, period) =>
      new cloudwatch.Metric({ namespace, metricName, statistic: "Sum", period });
    const alarms = [];
    if (initFailures !== undefined) {
      const metric = sum("Bantam", "init_failures", cdk.Duration.minutes(5));
      alarms.push(
        metric.createAlarm(this, "InitFailures", {
          alarmName: `${this.stackName}-init-failures`,
          alarmDescription: "Environments of functions with Bantam's layer failed to start.",
          evaluationPeriods: 1,
          comparisonOperator:
            cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
          threshold: Number(initFailures),
          treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
        }),
      );
    }
    if (coldStartShare !== undefined) {
      const period = cdk.Duration.minutes(15);
      const share = new cloudwatch.MathExpression({
        // Of few invocations the share says nothing.
        expression: "IF(invocations >= 20, 100 * starts / invocations, 0)",
        usingMetrics: {
          starts: sum("Bantam", "cold_starts", period),
          invocations: sum("AWS/Lambda", "Invocations", period),
        },
        label: "Invocations that met a cold start (%)",
        period,
      });
      // A start is reported when its environment is used again or ends, with the time of its first
      // invocation: the period before the last is still looked at.
      alarms.push(
        share.createAlarm(this, "ColdStartShare", {
          alarmName: `${this.stackName}-cold-start-share`,
          alarmDescription: "Too many invocations in the region waited for an environment to start.",
          evaluationPeriods: 2,
          datapointsToAlarm: 1,
          comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
          threshold: Number(coldStartShare),
          treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
        }),
      );
    }
    if (topic !== undefined) {
      const action = new actions.SnsAction(sns.Topic.fromTopicArn(this, "Topic", topic));
      alarms.forEach((alarm) => alarm.addAlarmAction(action));
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
  queries: app.node.tryGetContext("queries") === "true",
  alarms: {
    initFailures: app.node.tryGetContext("alarmInitFailures"),
    coldStartShare: app.node.tryGetContext("alarmColdStartShare"),
    topic: app.node.tryGetContext("alarmTopic"),
  },
  zips: path.resolve(app.node.tryGetContext("zips") ?? path.join(__dirname, "../../target/layer")),
});
