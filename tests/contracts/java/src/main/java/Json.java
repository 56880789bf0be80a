import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.json.JSONObject;

/** JSON text of maps, lists, strings and numbers. */
final class Json {
    private Json() {
    }

    static String of(final Object value) {
        return value instanceof Map<?, ?> map ? new JSONObject(map).toString() : JSONObject.valueToString(value);
    }

    static byte[] bytes(final String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
