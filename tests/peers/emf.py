"""Reads lines of EMF and writes each once more, as the libraries of AWS say the same.

A line out holds the line as it was read, and what each library makes of the figures in it.
"""

import contextlib
import io
import json
import sys
from datetime import datetime, timezone

from aws_embedded_metrics.logger.metrics_context import MetricsContext
from aws_embedded_metrics.serializers.log_serializer import LogSerializer
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)


class Figures:
    """What a document says, apart from how."""

    def __init__(self, document):
        [directive] = document["_aws"]["CloudWatchMetrics"]
        self.namespace = directive["Namespace"]
        self.timestamp_ms = document["_aws"]["Timestamp"]
        self.dimension_sets = [
            {name: document[name] for name in names} for names in directive["Dimensions"]
        ]
        self.values = []
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            values = value if isinstance(value, list) else [value]
            self.values += [(metric["Name"], metric["Unit"], value) for value in values]
        told = {"_aws"}.union(*directive["Dimensions"], (name for name, _, _ in self.values))
        self.properties = {name: document[name] for name in document if name not in told}


def embedded_metrics(figures):
    context = MetricsContext(namespace=figures.namespace)
    context.set_timestamp(datetime.fromtimestamp(figures.timestamp_ms / 1000, timezone.utc))
    context.set_dimensions(figures.dimension_sets)
    for name, unit, value in figures.values:
        context.put_metric(name, value, unit)
    for name, value in figures.properties.items():
        context.set_property(name, value)
    [document] = LogSerializer.serialize(context)
    return json.loads(document)


def powertools(figures):
    first, *others = figures.dimension_sets
    metrics = AmazonCloudWatchEMFProvider(namespace=figures.namespace, dimension_set=first)
    for dimensions in others:
        metrics.add_dimensions(**dimensions)
    metrics.set_timestamp(figures.timestamp_ms)
    for name, unit, value in figures.values:
        metrics.add_metric(name, unit, value)
    for name, value in figures.properties.items():
        metrics.add_metadata(name, value)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        metrics.flush_metrics()
    return json.loads(output.getvalue())


for line in sys.stdin:
    read = json.loads(line)
    figures = Figures(read)
    print(
        json.dumps(
            {
                "read": read,
                "aws-embedded-metrics": embedded_metrics(figures),
                "aws-lambda-powertools": powertools(figures),
            }
        )
    )
