"""What people see of a service: pages made on the server, and one small script. Changes go by the HTTP interface."""
