import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** An answer over JDBC, token by token: java -cp postgresql.jar Stream.java URL PROMPT */
public class Stream {
    public static void main(String[] args) throws SQLException {
        try (Connection connection = DriverManager.getConnection(args[0])) {
            // Both lines are needed: in autocommit, or with fetch size 0, the driver reads all rows first.
            connection.setAutoCommit(false);
            try (PreparedStatement ask = connection.prepareStatement("SELECT token FROM glm_stream(?)")) {
                ask.setFetchSize(1);
                ask.setString(1, args[1]);
                try (ResultSet tokens = ask.executeQuery()) {
                    while (tokens.next()) {
                        System.out.print(tokens.getString(1));
                        System.out.flush();
                    }
                }
            }
            connection.commit();
        }
        System.out.println();
    }
}
