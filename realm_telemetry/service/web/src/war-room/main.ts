import "./event-list";
import "./room";
