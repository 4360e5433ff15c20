import ai.onnxruntime.OrtException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.util.Utf8;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * Gathers records of one partition and scores them together: Kafka Streams hands out one at a time.
 *
 * <p>There is no public hook before a commit, so what is in the batch then is committed before it is scored: a crash
 * loses it. That makes this rival faster than a safe one could be.
 */
final class Scorer implements Processor<byte[], byte[], byte[], byte[]> {
    private static final int BATCH = 512;
    private static final Duration LONGEST = Duration.ofMillis(10);
    private static final int TOP = 3;

    private final Detector detector;
    private final GenericDatumReader<GenericRecord> reader;
    private final String topic;
    private final FloatBuffer windows;
    private final float[] row;
    private final double[] parts;
    private final Pending[] pending = new Pending[BATCH];
    private final ByteArrayOutputStream body = new ByteArrayOutputStream(512);
    private ProcessorContext<byte[], byte[]> context;
    private GenericRecord reused;
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;
    private int count;

    /** A record that waits for its score. */
    private record Pending(
            Record<byte[], byte[]> record, Utf8 id, Utf8 entity, long time, int number, int seen, int partition, long offset) {}

    Scorer(Detector detector, Schema schema, String topic) {
        this.detector = detector;
        this.reader = new GenericDatumReader<>(schema);
        this.topic = topic;
        this.row = new float[detector.width];
        this.parts = new double[detector.width];
        int floats = BATCH * detector.window * detector.width;
        this.windows = ByteBuffer.allocateDirect(4 * floats).order(ByteOrder.nativeOrder()).asFloatBuffer();
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> own) {
        context = own;
        context.schedule(LONGEST, PunctuationType.WALL_CLOCK_TIME, now -> score());
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        byte[] payload = record.value();
        try {
            decoder = DecoderFactory.get().binaryDecoder(payload, 5, payload.length - 5, decoder);
            reused = reader.read(reused, decoder);
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
        List<?> values = (List<?>) reused.get("features");
        for (int f = 0; f < row.length; f++) row[f] = (Float) values.get(f);
        Utf8 entity = new Utf8((Utf8) reused.get("entity_id"));
        Utf8 id = new Utf8((Utf8) reused.get("event_id"));
        int number = detector.entity(entity.toString());
        int seen = detector.push(number, row, windows);
        RecordMetadata at = context.recordMetadata().orElseThrow();
        long time = (Long) reused.get("ts");
        pending[count++] = new Pending(record, id, entity, time, number, seen, at.partition(), at.offset());
        if (count == BATCH) score();
    }

    private void score() {
        if (count == 0) return;
        try {
            FloatBuffer errors = detector.errors(windows.flip(), count);
            for (int i = 0; i < count; i++) forward(pending[i], errors, i * detector.terms * detector.width);
        } catch (OrtException | IOException failure) {
            throw new IllegalStateException(failure);
        }
        windows.clear();
        count = 0;
    }

    private void forward(Pending one, FloatBuffer errors, int at) throws IOException {
        double score = detector.judge(one.number, one.seen, errors, at, parts);
        double threshold = detector.threshold(one.number);
        body.reset();
        body.write(0);
        body.write(0);
        body.write(0);
        body.write(0);
        body.write(1);
        encoder = EncoderFactory.get().directBinaryEncoder(body, encoder);
        encoder.writeString(one.id);
        encoder.writeString(one.entity);
        encoder.writeLong(one.time);
        encoder.writeDouble(score);
        encoder.writeDouble(threshold);
        encoder.writeBoolean(score >= threshold);
        encoder.writeEnum(0);
        writeTop(score, score >= threshold);
        encoder.writeBoolean(one.seen >= detector.window);
        encoder.writeEnum(0);
        encoder.writeString(detector.name);
        encoder.writeString(detector.version);
        encoder.writeString(topic);
        encoder.writeInt(one.partition);
        encoder.writeLong(one.offset);
        context.forward(one.record.withValue(body.toByteArray()));
    }

    private void writeTop(double score, boolean anomaly) throws IOException {
        encoder.writeArrayStart();
        if (anomaly) {
            encoder.setItemCount(TOP);
            for (int k = 0; k < TOP; k++) {
                int most = 0;
                for (int f = 1; f < parts.length; f++) if (parts[f] > parts[most]) most = f;
                encoder.startItem();
                encoder.writeString(detector.features[most]);
                encoder.writeFloat((float) (parts[most] / score));
                parts[most] = -1;
            }
        }
        encoder.writeArrayEnd();
    }
}
