import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * What training learned of each entity, the model, and what is remembered of each entity since. Threads may share it: an
 * entity belongs to one partition, and a partition to one thread.
 */
final class Detector {
    final String name;
    final String version;
    final int window;
    final int width;
    final int terms;
    final String[] features;
    private final Map<String, Integer> index = new HashMap<>();
    private final double[] smoothing;
    private final double[] clip;
    private final double[][] center;
    private final double[][] spread;
    private final double[][] errorSd;
    private final double[][] scale;
    private final double[] threshold;
    private final float[][] windows;
    private final double[][] smoothed;
    private final int[] seen;
    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;

    /** Reads what load/peers/kafka_streams/__main__.py wrote of the artifact. */
    Detector(Path profiles, Path model) throws IOException, OrtException {
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(profiles)))) {
            name = in.readUTF();
            version = in.readUTF();
            window = in.readInt();
            width = in.readInt();
            terms = in.readInt();
            features = new String[width];
            for (int f = 0; f < width; f++) features[f] = in.readUTF();
            int entities = in.readInt();
            for (int e = 0; e < entities; e++) index.put(in.readUTF(), e);
            smoothing = doubles(in, terms);
            clip = doubles(in, terms);
            center = rows(in, entities, width);
            spread = rows(in, entities, width);
            errorSd = rows(in, entities, terms * width);
            scale = rows(in, entities, terms);
            threshold = doubles(in, entities);
            windows = new float[entities][window * width];
            smoothed = new double[entities][terms * width];
            seen = new int[entities];
        }
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        session = environment.createSession(model.toString(), options);
    }

    int entity(String entityName) {
        Integer found = index.get(entityName);
        if (found == null) throw new IllegalArgumentException("training knows no " + entityName);
        return found;
    }

    double threshold(int e) {
        return threshold[e];
    }

    /** Takes a row into the entity's window, and the window into a batch. Returns how many rows the entity has had. */
    int push(int e, float[] row, FloatBuffer batch) {
        float[] own = windows[e];
        int last = (window - 1) * width;
        if (seen[e] > 0) System.arraycopy(own, width, own, 0, last);
        for (int f = 0; f < width; f++) {
            double y = (row[f] - center[e][f]) / (5 * spread[e][f]);
            own[last + f] = (float) (5 * Math.copySign(Math.log(Math.abs(y) + Math.sqrt(y * y + 1)), y));
        }
        if (seen[e] == 0) {
            for (int w = 0; w < window - 1; w++) System.arraycopy(own, last, own, w * width, width);
        }
        batch.put(own);
        return ++seen[e];
    }

    /** The model's errors (n, terms, features) of n windows. */
    FloatBuffer errors(FloatBuffer batch, int n) throws OrtException {
        try (OnnxTensor input = OnnxTensor.createTensor(environment, batch, new long[] {n, window, width});
                OrtSession.Result result = session.run(Map.of("windows", input))) {
            return ((OnnxTensor) result.get(0)).getFloatBuffer();
        }
    }

    /** Smooths one row's errors; writes each feature's part of the score to parts and returns the score. */
    double judge(int e, int count, FloatBuffer errors, int at, double[] parts) {
        double[] own = smoothed[e];
        java.util.Arrays.fill(parts, 0);
        double score = 0;
        for (int t = 0; t < terms; t++) {
            for (int f = 0; f < width; f++) {
                int i = t * width + f;
                double error = errors.get(at + i) / errorSd[e][i];
                double square = Math.min(error * error, clip[t]);
                own[i] = count == 1 ? square : own[i] + smoothing[t] * (square - own[i]);
                double part = own[i] / scale[e][t] / width;
                parts[f] += part;
                score += part;
            }
        }
        return score;
    }

    private static double[] doubles(DataInputStream in, int count) throws IOException {
        double[] values = new double[count];
        for (int i = 0; i < count; i++) values[i] = in.readDouble();
        return values;
    }

    private static double[][] rows(DataInputStream in, int count, int length) throws IOException {
        double[][] values = new double[count][];
        for (int i = 0; i < count; i++) values[i] = doubles(in, length);
        return values;
    }
}
