// Sends log records to RealmService: node send.mjs URL http|proto none|gzip COUNT

import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter as JsonExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPLogExporter as ProtobufExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";

const [url, protocol, compression, count] = process.argv.slice(2);
const Exporter = protocol === "proto" ? ProtobufExporter : JsonExporter;
const processor = new BatchLogRecordProcessor({ exporter: new Exporter({ url, compression }) });
const provider = new LoggerProvider({
  resource: resourceFromAttributes({ "service.name": "web", "service.instance.id": "w-1" }),
  processors: [processor],
});
const logger = provider.getLogger("web.cart", "2.0");
const span = { traceId: "5b8efff798038103d269b633813fc60c", spanId: "eee19b7ec3c1b174", traceFlags: 1 };

logger.emit({
  eventName: "cart.Emptied",
  severityNumber: SeverityNumber.WARN2,
  severityText: "WARN",
  body: { message: "cart emptied", items: [1, 2.5, true, null, { deep: "é" }] },
  attributes: { user: "u1", large: 9007199254740991, bytes: new Uint8Array([0, 255]) },
  context: trace.setSpanContext(ROOT_CONTEXT, span),
});
for (let number = 0; number < Number(count); number += 1) {
  logger.emit({ severityNumber: SeverityNumber.DEBUG, body: `line ${number}` });
}
await provider.shutdown();
