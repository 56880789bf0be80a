import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.mockito.ArgumentMatchers.anyString;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.hyperledger.fabric.shim.Chaincode;
import org.hyperledger.fabric.shim.ChaincodeStub;
import org.junit.jupiter.api.Test;

final class NotesTest {
    private final Map<String, String> state = new HashMap<>();

    /** Calls the contract on a stub whose state is a map. */
    private Chaincode.Response call(final String function, final String... args) {
        final ChaincodeStub stub = mock(ChaincodeStub.class);
        when(stub.getFunction()).thenReturn(function);
        when(stub.getParameters()).thenReturn(List.of(args));
        when(stub.getState(anyString())).thenAnswer(asked -> state.getOrDefault(asked.getArgument(0), "").getBytes());
        doAnswer(asked -> state.put(asked.getArgument(0), asked.getArgument(1)))
                .when(stub).putStringState(anyString(), anyString());
        return new Notes().invoke(stub);
    }

    @Test
    void notes() {
        assertEquals(200, call("put", "n1", "milk").getStatusCode());
        assertEquals("milk", call("get", "n1").getStringPayload());
        assertEquals("", call("get", "n2").getStringPayload());
        assertEquals(500, call("put", "n1").getStatusCode());
    }
}
